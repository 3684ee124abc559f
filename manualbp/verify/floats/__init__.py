"""Every float: errors in units in the last place."""
