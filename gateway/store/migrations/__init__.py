"""The history of the tables: Alembic's migrations, applied at every start."""
