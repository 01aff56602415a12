module github.com/vdi-platform/vdi-platform/tests/tools/pause

go 1.26.0
