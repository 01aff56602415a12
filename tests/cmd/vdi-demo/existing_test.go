package main

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestOffersGPU(t *testing.T) {
	node := func(gpus string) corev1.Node {
		return corev1.Node{Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse(gpus)}}}
	}
	require.False(t, offersGPU(nil))
	require.False(t, offersGPU([]corev1.Node{{}, node("0")}))
	require.True(t, offersGPU([]corev1.Node{{}, node("8")}))
}
