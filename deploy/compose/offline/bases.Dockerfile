# Replacements for the registry's images, made from Debian's packages and Maven artifacts; built by bases.sh.
ARG DEBIAN_IMAGE=slimrank-offline/debian:bookworm

FROM ${DEBIAN_IMAGE} AS python
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends python3 python3-venv ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*

FROM ${DEBIAN_IMAGE} AS redis
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
ENTRYPOINT ["redis-server"]

FROM ${DEBIAN_IMAGE} AS prometheus
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && mkdir -p /prometheus && chown 65534:65534 /prometheus
USER 65534
ENTRYPOINT ["/usr/bin/prometheus"]

# bases.sh makes the folders `engine` and `java`. ML Commons is missing: its plugin is not a Maven artifact.
FROM ${DEBIAN_IMAGE} AS opensearch
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends curl \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && useradd --uid 1000 opensearch
COPY --chown=1000 engine /usr/share/opensearch
COPY java /usr/share/java-runtime
COPY --chown=1000 opensearch.yml log4j2.properties /usr/share/opensearch/config/
RUN cd /usr/share/opensearch && mkdir -p data logs && chown 1000 . config data logs
USER 1000
WORKDIR /usr/share/opensearch
CMD ["sh", "-c", "exec /usr/share/java-runtime/bin/java ${OPENSEARCH_JAVA_OPTS} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
     --enable-native-access=ALL-UNNAMED -Dfile.encoding=UTF-8 -Djava.awt.headless=true -Djna.nosys=true \
     -Dio.netty.noUnsafe=true -Dio.netty.noKeySetOptimization=true -Dio.netty.recycler.maxCapacityPerThread=0 \
     -Dio.netty.allocator.numDirectArenas=0 -Dlog4j.shutdownHookEnabled=false -Dlog4j2.disable.jmx=true \
     -Dopensearch.path.home=/usr/share/opensearch -Dopensearch.path.conf=/usr/share/opensearch/config \
     -Dopensearch.distribution.type=tar -cp '/usr/share/opensearch/lib/*' org.opensearch.bootstrap.OpenSearch"]
