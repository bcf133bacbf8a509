"""How the tables came to be: Alembic's migrations, applied at every start."""
