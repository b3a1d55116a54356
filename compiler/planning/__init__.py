"""Tasks -> plan for a target description: phases between barriers, shares of workers, an address for every buffer."""
