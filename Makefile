# The way in is ./keystead; these are short names for people used to make.
.PHONY: up down setup test
up down setup:
	./keystead $@
test:
	./keystead test $(ARGS)
