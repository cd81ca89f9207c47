"""Azure as a site: virtual machines on demand, on spot or not, reached by SSH."""
