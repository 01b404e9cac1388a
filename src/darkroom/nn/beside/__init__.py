"""Networks beside a model that stays as it is: they make what it reads."""
