"""The whole paper from one command: its trainings, its tables, and what it does not say."""
