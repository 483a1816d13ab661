"""What the subcommands of `kosplinter` take and do, a file each."""
