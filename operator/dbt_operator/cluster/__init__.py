"""All that talks to the API server, and what is known of it."""
