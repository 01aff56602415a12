// Package contract judges whether an image is one of a desktop, as values/templates/README.md
// says it: first by what its archive holds, then by running it on a local cluster in the very
// pod that the platform would make of it, with the real agent in front.
//
// It judges the image with one template and writes nothing of others: what it makes on the
// cluster lies in a namespace of its own, which it deletes.
package contract
