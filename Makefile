# The way in is ./keystead; these are its short names for people used to make.
.PHONY: up down test setup lint
up down setup lint:
	./keystead $@
test:
	./keystead test $(ARGS)
