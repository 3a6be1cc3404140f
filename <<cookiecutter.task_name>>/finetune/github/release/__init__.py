"""release.yml: tag → evaluated adapter → what was published → GitHub release → its record on main."""
