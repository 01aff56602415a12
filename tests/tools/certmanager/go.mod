// cert-manager, for its CRDs only: no Go code of it is built.
module github.com/vdi-platform/vdi-platform/tests/tools/certmanager

go 1.26.0

require github.com/cert-manager/cert-manager v1.21.2 // indirect
