"""``python -m memviz``: the command, where no script of that name is on the path."""

from memviz.cli.main import main

if __name__ == "__main__":
    main()
