"""Gates: the plugins that know remote sites."""
