"""What the workflows call: comments, statuses, frozen inputs, releases. One command a step, the logic here."""
