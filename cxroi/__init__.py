"""What better customer experience is worth."""
