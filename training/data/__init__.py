"""What training learns from: collections become groups of a query, its documents, labels and a teacher's scores."""
