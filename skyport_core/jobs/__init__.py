"""The job lifecycle: one reconciler, one module a phase."""
