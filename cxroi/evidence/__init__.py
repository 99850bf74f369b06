"""How far the evidence behind an estimate carries: what could overturn it, and how it changes with the choices made."""
