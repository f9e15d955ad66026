"""Scripts of the Glue jobs and the modules that they share: a job is shipped with what it imports."""
