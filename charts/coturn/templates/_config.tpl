{{/* coturn's file without secrets and addresses, which the pod adds. Only keys that
4.6.1 and 4.17 both know: an unknown one is silently ignored, and with it what it
should protect. What only one of them knows goes into the arguments. */}}

{{- define "coturn.config" -}}
realm={{ .Values.realm }}
listening-port={{ (include "coturn.ports" . | fromJson).turn }}
min-port={{ .Values.ports.relayMin }}
max-port={{ .Values.ports.relayMax }}
{{- if .Values.tls.enabled }}
tls-listening-port={{ (include "coturn.ports" . | fromJson).tls }}
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

{{/* Two faults of coturn before 4.9 shape these ranges. The zero address means
"no bound", so that a range from :: would match every IPv4 address. And IPv6
is compared byte by byte: a range holds what it seems to only if it is a whole
prefix, or a range in one byte followed by 00 to ff. The IPv4-mapped range
closes CVE-2026-27624. */}}
{{- define "coturn.config.denied" -}}
{{- if eq .Values.peers.reach "Self" -}}
- 0.0.0.0-255.255.255.255
- 100::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
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
- 100::-100::ffff:ffff:ffff:ffff
- 2001::-2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff
- 2002::-2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff
- fc00::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
{{- end }}
- ::ffff:0:0-::ffff:ffff:ffff
{{ include "coturn.config.reserved" . }}
{{- end -}}

{{/* 0000::/8 but ::, which coturn itself refuses: loopback, IPv4-compatible,
NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), and whatever else may come. */}}
{{- define "coturn.config.reserved" -}}
- 1::-ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
{{- range $zeros := untilStep 1 8 1 }}
{{- $prefix := repeat $zeros "0:" }}
{{- $ones := repeat (int (sub 7 $zeros)) ":ffff" }}
{{- $nulls := repeat (int (sub 7 $zeros)) ":0" }}
- {{ $prefix }}100{{ $nulls }}-{{ $prefix }}ffff{{ $ones }}
- {{ $prefix }}1{{ $nulls }}-{{ $prefix }}ff{{ $ones }}
{{- end }}
{{- end -}}
