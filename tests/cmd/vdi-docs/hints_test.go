package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const schema = `{
  "type": "object",
  "properties": {
    "image": {
      "type": "object",
      "properties": {
        "pullPolicy": {
          "type": "string"
        },
        "repository": {
          "type": "string"
        }
      },
      "additionalProperties": false
    },
    "free": {
      "type": "object",
      "additionalProperties": true
    },
    "priorityClassName": {
      "type": "string"
    },
    "priorityClassValue": {
      "type": "string"
    },
    "tolerations": {
      "type": "array"
    }
  },
  "additionalProperties": false
}
`

// TestHints: what is almost a key is answered with the key, where it can mean no other and is
// none itself; nothing else changes, however often it is done.
func TestHints(t *testing.T) {
	text, err := addHints("vdi-operator", schema)
	require.NoError(t, err)
	for _, want := range []string{
		`"^(pull|pullpolicy)$": { "const": "under pullPolicy, since there is no such key" }`,
		`"^(name)$": { "const": "under repository, since there is no such key" }`,
		`"^(priorityclassname)$": { "const": "under priorityClassName, since there is no such key" }`,
		`"^(toleration)$": { "const": "under tolerations, since there is no such key" }`,
		`"^(replicaCount)$": { "const": "under replicas, since there is no such key" }`,
	} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "priorityClass|", "it could mean either")
	var parsed map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &parsed))
	again, err := addHints("vdi-operator", text)
	require.NoError(t, err)
	require.Equal(t, text, again)
	require.Equal(t, schema, hintBlock.ReplaceAllString(text, ""))
	require.Equal(t, 2, strings.Count(text, "patternProperties"))
}

func TestSingular(t *testing.T) {
	for plural, want := range map[string]string{"ingressClasses": "ingressClass", "capabilities": "capability", "access": "access", "labels": "label", "image": "image"} {
		require.Equal(t, want, singular(plural))
	}
}
