package homes

import (
	"maps"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vdi-platform/vdi-platform/platform/wire"
)

// HolderOf is the UID of the session that may write to the claim, by its
// annotation; empty when the claim is free.
func HolderOf(claim metav1.Object) types.UID {
	session, _ := holderOf(claim)
	return session
}

// Hold gives the claim to the next run of a session. The number makes every
// hold a write, so that of two that were begun at once the API server refuses
// one. The claim is changed, not written.
func Hold(claim metav1.Object, session types.UID) {
	before, run := holderOf(claim)
	if before != session {
		run = 0
	}
	annotations := maps.Clone(claim.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[wire.AnnotationHolder] = string(session) + "/" + strconv.FormatUint(run+1, 10)
	claim.SetAnnotations(annotations)
}

// Release makes the claim free. The claim is changed, not written.
func Release(claim metav1.Object) {
	claim.SetAnnotations(withoutHolder(claim))
}

// withoutHolder are the annotations that do not change with every run.
func withoutHolder(claim metav1.Object) map[string]string {
	annotations := maps.Clone(claim.GetAnnotations())
	delete(annotations, wire.AnnotationHolder)
	return annotations
}

func holderOf(claim metav1.Object) (session types.UID, run uint64) {
	holder, number, _ := strings.Cut(claim.GetAnnotations()[wire.AnnotationHolder], "/")
	run, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		run = 0 // what nobody can read is counted anew
	}
	return types.UID(holder), run
}
