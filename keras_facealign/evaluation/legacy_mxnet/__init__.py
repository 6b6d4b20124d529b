"""The evaluation of the original MXNet code."""
