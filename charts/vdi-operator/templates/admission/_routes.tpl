{{/* Parts of routes.yaml: rules for what others write beside desktops. */}}

{{/* The settings of the proxy, as JSON, with those that values of earlier releases lack. */}}
{{- define "vdi-operator.admission.proxy" -}}
{{- $proxy := merge (dict "reads" (include "vdi-operator.proxy.reads" . | fromJsonArray)) .Values.sessions.proxy -}}
{{- range $key, $value := dict "certificateNamespaces" list "ingressClasses" (list "traefik") "gatewayClasses" (list "traefik") -}}
{{- if kindIs "invalid" (index $proxy $key) }}{{ $_ := set $proxy $key $value }}{{ end -}}
{{- end -}}
{{- toJson $proxy -}}
{{- end -}}

{{/* Whether annotation k is read by a proxy. */}}
{{- define "vdi-operator.admission.isNote" -}}
k == 'kubernetes.io/ingress.class' || k.startsWith('traefik.ingress.kubernetes.io/') || k == 'nginx.ingress.kubernetes.io/server-alias'
{{- end -}}

{{/* A CEL list of the namespaces where the TLS objects belong that hold for all. */}}
{{- define "vdi-operator.admission.proxyNamespaces" -}}
{{- list .Release.Namespace (include "vdi-operator.proxy.namespace" .) | uniq | toJson -}}
{{- end -}}

{{/* Whether annotations and class are what they were. */}}
{{- define "vdi-operator.admission.sameClass" -}}
variables.sameNotes && {{ range $i, $field := list "ingressClassName" "gatewayClassName" }}{{ if $i }} && {{ end -}}
(has(variables.spec.{{ $field }}) ? variables.spec.{{ $field }} : '') == (has(variables.oldSpec.{{ $field }}) ? variables.oldSpec.{{ $field }} : '')
{{- end }}
{{- end -}}

{{/* Names of a domain of Traefik's, main and sans. */}}
{{- define "vdi-operator.admission.namesOfDomain" -}}
map(d, (has(d.main) ? [d.main] : []) + (has(d.sans) ? d.sans : []))
{{- end -}}

{{- define "vdi-operator.admission.routes.variables" -}}
{{- $proxy := include "vdi-operator.admission.proxy" . | fromJson -}}
# Classes that the object names; without one it is everybody's.
- name: classes
  expression: >-
    (has(variables.spec.ingressClassName) && variables.spec.ingressClassName != '' ? [variables.spec.ingressClassName] : [])
    + variables.notes.filter(n, n.startsWith('kubernetes.io/ingress.class=') && n != 'kubernetes.io/ingress.class=').map(n, n.substring(28))
- name: isJudged
  expression: >-
    variables.isNew
    {{- with $proxy.ingressClasses }}
    && !(object.kind in ['Ingress', 'IngressRoute', 'IngressRouteTCP'] && size(variables.classes) > 0 && !variables.classes.exists(c, c in {{ toJson . }}))
    {{- end }}
    {{- with $proxy.gatewayClasses }}
    && !(object.kind == 'Gateway' && has(variables.spec.gatewayClassName) && !(variables.spec.gatewayClassName in {{ toJson . }}))
    {{- end }}
# Rules of Traefik that see the desktops' requests: other entry points do not. Certificates
# are asked for at all of them.
- name: rules
  expression: >-
    object != null && object.kind in ['IngressRoute', 'IngressRouteTCP'] && has(variables.spec.routes)
    && (!has(variables.spec.entryPoints) || size(variables.spec.entryPoints) == 0
    || variables.spec.entryPoints.exists(e, e in {{ include "vdi-operator.admission.entryPoints" . }})
    || has(variables.spec.tls) && has(variables.spec.tls.certResolver) && variables.spec.tls.certResolver != '')
    ? variables.spec.routes.map(r, has(r.match) ? r.match : '') : []
- name: listeners
  expression: >-
    has(variables.spec.listeners) ? variables.spec.listeners : []
- name: hosts
  expression: >-
    has(variables.spec.hostnames) ? variables.spec.hostnames
    : object != null && object.kind == 'Ingress' && has(variables.spec.rules)
    ? variables.spec.rules.filter(r, has(r.host)).map(r, r.host)
    : variables.listeners.filter(l, has(l.hostname)).map(l, l.hostname)
# Names that certificates are shown or asked for, and other names of an Ingress.
- name: certificates
  expression: >-
    variables.notes.filter(n, n.lowerAscii().contains('.tls.domains') || n.startsWith('nginx.ingress.kubernetes.io/server-alias=')).map(n,
    n.substring(n.indexOf('=') + 1).replace(' ', '').split(','))
    + (object == null ? []
    : object.kind == 'Ingress' ? (has(variables.spec.tls) ? variables.spec.tls.filter(t, has(t.hosts)).map(t, t.hosts) : [])
    : object.kind in ['IngressRoute', 'IngressRouteTCP']
    ? (has(variables.spec.tls) && has(variables.spec.tls.domains) ? variables.spec.tls.domains.{{ include "vdi-operator.admission.namesOfDomain" . }} : [])
    : object.kind == 'TLSStore' && has(variables.spec.defaultGeneratedCert) && has(variables.spec.defaultGeneratedCert.domain)
    ? [variables.spec.defaultGeneratedCert.domain].{{ include "vdi-operator.admission.namesOfDomain" . }} : [])
{{- if $proxy.reads }}
# Certificates that others bring, now and before.
- name: keys
  expression: >-
    [variables.spec, variables.oldSpec].map(s, object == null ? []
    {{- if has "Ingress" $proxy.reads }}
    : object.kind == 'Ingress' ? (has(s.tls) ? s.tls.filter(t, has(t.secretName) && t.secretName != '').map(t, t.secretName) : [])
    {{- end }}
    {{- if has "IngressRoute" $proxy.reads }}
    : object.kind in ['IngressRoute', 'IngressRouteTCP'] ? (has(s.tls) && has(s.tls.secretName) && s.tls.secretName != '' ? [s.tls.secretName] : [])
    {{- end }}
    {{- if has "Gateway" $proxy.reads }}
    : has(s.listeners) ? s.listeners.filter(l, has(l.tls) && has(l.tls.certificateRefs)).map(l, l.tls.certificateRefs.map(c, (has(c.namespace) ? c.namespace : '') + '/' + c.name).join(','))
    {{- end }}
    : [])
{{- end }}
{{- if has "Gateway" $proxy.reads }}
# What routes of the Gateway API hang on, but for the services of a mesh.
- name: parents
  expression: >-
    has(variables.spec.parentRefs) ? variables.spec.parentRefs.filter(p, !has(p.kind) || p.kind != 'Service').map(p,
    (has(p.namespace) ? p.namespace : request.namespace) + '/' + p.name) : []
{{- end }}
{{- end -}}

{{/* What holds on a proxy that reads others' objects too. */}}
{{- define "vdi-operator.admission.routes.shared" -}}
{{- $proxy := include "vdi-operator.admission.proxy" . | fromJson -}}
{{- $own := include "vdi-operator.admission.proxyNamespaces" . -}}
{{- if has "Ingress" $proxy.reads -}}
- expression: >-
    !variables.isJudged || object.kind != 'Ingress' || !has(variables.spec.defaultBackend) && has(variables.spec.rules) && size(variables.spec.rules) > 0
    && variables.spec.rules.all(r, has(r.host) && r.host != '')
  reason: Forbidden
  message: >-
    spec.rules and spec.defaultBackend could take requests for desktops under {{ include "vdi-operator.domain" . }}: name a host in every rule and use no
    defaultBackend, take the class of another proxy, or have an administrator of the cluster write this Ingress
{{ end -}}
{{- if has "Gateway" $proxy.reads -}}
- expression: >-
    !variables.isJudged || !(object.kind in ['HTTPRoute', 'GRPCRoute', 'TLSRoute', 'TCPRoute'])
    {{- if $proxy.gateways }}
    || !variables.parents.exists(p, p in {{ toJson $proxy.gateways }})
    {{- else }}
    || has(variables.spec.parentRefs) && size(variables.spec.parentRefs) > 0 && size(variables.parents) == 0
    {{- end }}
    || object.kind != 'TCPRoute' && has(variables.spec.hostnames) && size(variables.spec.hostnames) > 0 && variables.spec.hostnames.all(h, h != '')
  reason: Forbidden
  message: >-
    spec.hostnames could take requests for desktops under {{ include "vdi-operator.domain" . }}: name every host, which a TCPRoute cannot, hang the route on another
    proxy's Gateway (sessions.proxy.gateways), or have an administrator of the cluster write it
# Of UDP no desktop lives.
- expression: >-
    !variables.isJudged || variables.listeners.all(l, l.protocol == 'UDP' || l.protocol != 'TCP' && has(l.hostname) && l.hostname != '')
  reason: Forbidden
  message: >-
    spec.listeners[].hostname could take requests for desktops under {{ include "vdi-operator.domain" . }}: name a host in every listener, which one of TCP
    cannot, take the class of another proxy (sessions.proxy.gatewayClasses), or have an administrator of the cluster write this Gateway
{{ end -}}
{{- if has "IngressRoute" $proxy.reads -}}
- expression: >-
    !variables.isNew || !(object.kind in ['TLSStore', 'TLSOption']) || !has(object.metadata.name) || object.metadata.name != 'default' || request.namespace in {{ $own }}
  reason: Forbidden
  message: >-
    metadata.name: what is called default holds for all hosts of the proxy, the desktops' too: choose another name and refer to it,
    or have an administrator of the cluster write this object
{{ if include "vdi-operator.access.logsIn" . -}}
# Traefik without safeNaming knows a Middleware by its namespace and name with a hyphen between.
- expression: >-
    !variables.isNew || object.kind != 'Middleware' || !has(object.metadata.name) || !(request.namespace + '-' + object.metadata.name).matches('^.+-.+-forward-auth$')
  reason: Forbidden
  message: >-
    metadata.name: the proxy could take this Middleware for the one that guards a desktop: choose a name that does not end in forward-auth,
    or have an administrator of the cluster write it
{{ end -}}
{{- end -}}
{{- if not (has "*" $proxy.certificateNamespaces) -}}
# Which hosts a certificate is for, only its text says.
- expression: >-
    !variables.isJudged || size(variables.keys[0]) == 0 || request.namespace in {{ concat (fromJsonArray $own) $proxy.certificateNamespaces | uniq | toJson }}
    || request.operation == 'UPDATE' && {{ include "vdi-operator.admission.sameClass" . }} && variables.keys[0].all(k, k in variables.keys[1])
  reason: Forbidden
  messageExpression: >-
    'spec brings a certificate, which the proxy shows to every host that it names, the desktops\' too: leave secretName and certificateRefs out and'
    + ' use the certificates of the proxy, or have an administrator add ' + request.namespace + ' to sessions.proxy.certificateNamespaces'
{{- end -}}
{{- end -}}
