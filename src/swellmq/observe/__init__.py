"""What is watched while a broker runs: alarms, history, who sends most, what costs memory. No packet passes here."""
