module github.com/vdi-platform/vdi-platform

go 1.26
