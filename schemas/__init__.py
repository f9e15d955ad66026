"""Column lists shared by the stacks that declare Glue tables and the tests that hold the code to them."""
