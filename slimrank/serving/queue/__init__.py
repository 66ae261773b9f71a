"""The queue between gateways and workers: jobs and answers in Redis, tasks by Celery, and the workers' process."""
