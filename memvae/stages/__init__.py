"""The stages: each reads the files of the stage before, calls the science, and writes its own file.

A stage is a subcommand of the command line and a rule of the workflow. It imports what it needs and nothing else.
"""
