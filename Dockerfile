# Two stages: a Rust toolchain that builds, and an image with glibc, otlpd and a configuration,
# and no shell. `docker build -t otlpd .`
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY src src
# Symbols stay, for backtraces; line tables are most of the binary's size.
ENV CARGO_PROFILE_RELEASE_STRIP=debuginfo
# The caches outlive the layer, the binary does not outlive the cache: hence the copy. A file may
# have changed and still be older than the cached build: hence the touch.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --bin otlpd \
    && cp target/release/otlpd /otlpd

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /otlpd /usr/local/bin/otlpd
COPY config/examples/container.toml /etc/otlpd/otlpd.toml
# OTLP over gRPC and HTTP, and the admin listener.
EXPOSE 4317 4318 13133
# It drains for at most shutdown.deadline (30 s), and must be given longer: docker run
# --stop-timeout 40.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["/usr/local/bin/otlpd", "health", "--config", "/etc/otlpd/otlpd.toml"]
ENTRYPOINT ["/usr/local/bin/otlpd"]
CMD ["--config", "/etc/otlpd/otlpd.toml"]
