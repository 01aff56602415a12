// Package cluster runs a real Kubernetes on one machine, for tests and demos,
// from binaries built out of Go modules: no container registry, no image
// download.
//
// Two sizes exist. [StartControlPlane] starts etcd, the API server and the
// controllers as plain processes on 127.0.0.1, ready in seconds, for tests that
// need an API but no pods. [Up] starts a whole node with real pods inside its
// own mount, network and process namespaces, the way kind does it in a
// container, so that [Down] leaves nothing behind. NetworkPolicies are enforced
// there, by kube-router's firewall.
//
// The package is a harness: it must not be imported by anything that ships.
package cluster
