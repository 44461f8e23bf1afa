"""Stand-ins for everything outside a call, in memory and on Trio's clock."""
