select seconds / 60.0
