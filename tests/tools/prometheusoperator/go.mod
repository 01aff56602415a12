// The Prometheus Operator, for its CRDs only: no Go code of it is built. v0.85.0
// is the one version that the Go module proxy serves.
module github.com/vdi-platform/vdi-platform/tests/tools/prometheusoperator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
