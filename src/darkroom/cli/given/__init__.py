"""What is given on the command line: flags that follow from contracts, and kinds of values."""
