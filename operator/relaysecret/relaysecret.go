// Package relaysecret is the program vdi-turn-secret: it keeps the shared secret of
// the TURN relay out of templates, arguments and environments.
//
// It never prints a secret and never changes one that is there.
package relaysecret

import (
	"fmt"

	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/clientcmd"
)

// connect finds the cluster as kubectl does, and inside a pod by its account.
func connect() (*typedcorev1.CoreV1Client, error) {
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	return typedcorev1.NewForConfig(config)
}
