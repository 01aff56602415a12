{{/* coturn's file without secrets and addresses, which the pod adds. Only keys that
4.6.1 and 4.17 both know: an unknown one is silently ignored, and with it what it
should protect. What only one of them knows goes into the arguments. */}}

{{- define "coturn.config" -}}
realm={{ .Values.realm }}
listening-port={{ .Values.ports.turn }}
min-port={{ .Values.ports.relayMin }}
max-port={{ .Values.ports.relayMax }}
{{- if .Values.tls.enabled }}
tls-listening-port={{ .Values.ports.tls }}
cert=/etc/coturn-tls/tls.crt
pkey=/etc/coturn-tls/tls.key
{{- else }}
no-tls
{{- end }}
no-dtls
use-auth-secret
fingerprint
stale-nonce=600
user-quota={{ .Values.limits.allocationsPerUser }}
total-quota={{ .Values.limits.allocations }}
{{- with .Values.limits.bytesPerSecond }}
max-bps={{ int . }}
{{- end }}
no-cli
no-rfc5780
no-software-attribute
no-tcp-relay
no-multicast-peers
{{- range concat (include "coturn.config.denied" . | fromYamlArray) .Values.peers.denied }}
denied-peer-ip={{ . }}
{{- end }}
{{- range .Values.peers.allowed }}
allowed-peer-ip={{ . }}
{{- end }}
log-file=stdout
simple-log
pidfile=/run/coturn/turnserver.pid
userdb=/run/coturn/turndb
{{- end -}}

{{/* A range that starts at :: would match every IPv4 address as well, because
coturn takes the zero address for "no bound". The IPv4-mapped range closes
CVE-2026-27624 of versions before 4.9.0. */}}
{{- define "coturn.config.denied" -}}
{{- if eq .Values.peers.reach "Self" -}}
- 0.0.0.0-255.255.255.255
- ::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
{{- else -}}
- 0.0.0.0-0.255.255.255
- 10.0.0.0-10.255.255.255
- 100.64.0.0-100.127.255.255
- 127.0.0.0-127.255.255.255
- 169.254.0.0-169.254.255.255
- 172.16.0.0-172.31.255.255
- 192.0.0.0-192.0.0.255
- 192.88.99.0-192.88.99.255
- 192.168.0.0-192.168.255.255
- 198.18.0.0-198.19.255.255
- 224.0.0.0-255.255.255.255
- ::1
- 64:ff9b::-64:ff9b:1:ffff:ffff:ffff:ffff:ffff
- 100::-100::ffff:ffff:ffff:ffff
- 2001::-2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff
- 2002::-2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff
- fc00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
{{- end }}
- ::ffff:0:0-::ffff:ffff:ffff
{{- end -}}
