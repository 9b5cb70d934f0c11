"""What interventions and withheld training show, and when it may be called a cause."""
