"""Scripts of the Glue jobs: each file is shipped alone."""
