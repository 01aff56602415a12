// Package validate judges an installation of the platform in any cluster as its
// administrator would: it finds the release, starts one desktop in a namespace of
// its own, and comes to a table with a remedy per line. Decisions are package
// judge's; here is what asks the cluster, Helm, the proxy and the relay.
//
// It must change nothing that it has not made and labelled itself.
package validate
