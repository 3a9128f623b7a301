"""What lasts: the ledger, its journal, the keys, and the database under them."""
