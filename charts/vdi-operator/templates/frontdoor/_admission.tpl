{{/* Parts of the policies that bound the front door: what it may make, and what it may change. */}}

{{- define "vdi-operator.frontDoor.username" -}}
{{- include "vdi-operator.admission.username" (dict "root" . "account" (include "vdi-operator.frontDoor.name" .)) -}}
{{- end -}}

{{- define "vdi-operator.frontDoor.isFrontDoor" -}}
- name: front-door
  expression: request.userInfo.username == {{ include "vdi-operator.frontDoor.username" . | squote }}
{{- end -}}

{{/* made and madeHome are the fields of spec and of its persistence that a new session may have,
changeable those that change later, fixed and fixedHome the others that did, and newly those
that change only for the person in spec.user: requestedBy says for whom the front door acts,
which that of the release before never says. */}}
{{- define "vdi-operator.frontDoor.policyVariables" -}}
- name: made
  expression: "['user', 'displayName', 'template', 'groups', 'resources', 'persistence', 'timeZone', 'runPolicy']"
- name: madeHome
  expression: "['enabled', 'size', 'reclaimPolicy']"
- name: changeable
  expression: "['runPolicy', 'keepAliveUntil', 'groups', 'displayName', 'persistence']"
- name: ours
  expression: "['vdi.kasm.io/', 'app.kubernetes.io/', 'meta.helm.sh/']"
- name: requestedBy
  expression: >-
    object != null ? object.metadata.?annotations[?'vdi.kasm.io/requested-by'].orValue('') : ''
- name: fixed
  expression: >-
    request.operation != 'UPDATE' ? [] :
    object.spec.filter(f, !(f in variables.changeable) && !(f in oldObject.spec && object.spec[f] == oldObject.spec[f]))
    + oldObject.spec.filter(f, !(f in variables.changeable) && !(f in object.spec))
- name: fixedHome
  expression: >-
    request.operation != 'UPDATE' ? [] :
    object.spec.?persistence.orValue({}).filter(f, f != 'size' && !(f in oldObject.spec.?persistence.orValue({}) && object.spec.persistence[f] == oldObject.spec.persistence[f]))
    + oldObject.spec.?persistence.orValue({}).filter(f, f != 'size' && !(f in object.spec.?persistence.orValue({})))
- name: newly
  expression: >-
    request.operation != 'UPDATE' ? [] :
    (object.spec.?runPolicy.orValue('') != oldObject.spec.?runPolicy.orValue('') && object.spec.?runPolicy.orValue('') != 'Running' ? ['spec.runPolicy'] : [])
    + (object.spec.?displayName.orValue('') != oldObject.spec.?displayName.orValue('') ? ['spec.displayName'] : [])
    + (object.spec.?persistence.?size.orValue('') != oldObject.spec.?persistence.?size.orValue('') ? ['spec.persistence.size'] : [])
{{- end -}}

{{/* A desktop of one's own, and nothing beside it that others would believe or that reaches
other homes. */}}
{{- define "vdi-operator.frontDoor.makes" -}}
- expression: >-
    request.operation != 'CREATE' || object.spec.all(f, f in variables.made)
  messageExpression: >-
    'the front door may not make a session with spec.' + object.spec.filter(f, !(f in variables.made))[0]
- expression: >-
    request.operation != 'CREATE' || object.spec.?persistence.orValue({}).all(f, f in variables.madeHome)
  messageExpression: >-
    'the front door may not make a session with spec.persistence.' + object.spec.persistence.filter(f, !(f in variables.madeHome))[0]
- expression: >-
    request.operation != 'CREATE' || object.spec.?persistence.?reclaimPolicy.orValue('Retain') == 'Retain'
  message: the front door may make a session with spec.persistence.reclaimPolicy Retain only
- expression: >-
    request.operation != 'CREATE' || object.spec.?runPolicy.orValue('Running') == 'Running'
  message: the front door may make a session with spec.runPolicy Running only
# The hash keeps people's names apart (platform.SessionName).
- expression: >-
    request.operation != 'CREATE' || object.metadata.?generateName.orValue('') == ''
    && object.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?-[a-z2-7]{16}$')
  message: the front door may make a session only with a metadata.name that ends in a hash of 16 characters
# The cluster's own webhooks may add to them, none that is the platform's.
- expression: >-
    request.operation != 'CREATE' || object.metadata.?labels.orValue({}).all(k, !variables.ours.exists(p, k.startsWith(p)))
  messageExpression: >-
    'the front door may not make a session with the label ' + object.metadata.labels.filter(k, variables.ours.exists(p, k.startsWith(p)))[0]
- expression: >-
    request.operation != 'CREATE' || variables.requestedBy == object.spec.user
  message: the front door may make a session only with the annotation vdi.kasm.io/requested-by, which is its spec.user
- expression: >-
    request.operation != 'CREATE' ||
    object.metadata.?annotations.orValue({}).all(k, k == 'vdi.kasm.io/requested-by' || !variables.ours.exists(p, k.startsWith(p)))
  message: the front door may make a session with no annotation of the platform's but vdi.kasm.io/requested-by
- expression: >-
    request.operation != 'CREATE' || object.metadata.?finalizers.orValue([]).size() == 0
  message: the front door may not make a session with metadata.finalizers
- expression: >-
    request.operation != 'CREATE' || object.metadata.?ownerReferences.orValue([]).size() == 0
  message: the front door may not make a session with metadata.ownerReferences
{{- end -}}

{{- define "vdi-operator.frontDoor.changes" -}}
- expression: variables.fixed.size() == 0
  messageExpression: >-
    'the front door may not change spec.' + variables.fixed[0] + '; let the session\'s owner do it'
- expression: variables.fixedHome.size() == 0
  messageExpression: >-
    'the front door may not change spec.persistence.' + variables.fixedHome[0] + '; let the session\'s owner do it'
- expression: >-
    request.operation != 'UPDATE' ||
    object.metadata.?labels.orValue({}) == oldObject.metadata.?labels.orValue({})
  message: the front door may not change a session's metadata.labels; let the session's owner do it
- expression: >-
    request.operation != 'UPDATE' ||
    object.metadata.?annotations.orValue({}).all(k, k == 'vdi.kasm.io/requested-by' || oldObject.metadata.?annotations[?k] == object.metadata.?annotations[?k]) &&
    oldObject.metadata.?annotations.orValue({}).all(k, k == 'vdi.kasm.io/requested-by' || k in object.metadata.?annotations.orValue({}))
  message: the front door may not change a session's metadata.annotations but vdi.kasm.io/requested-by; let the session's owner do it
- expression: >-
    request.operation != 'UPDATE' || variables.requestedBy == object.spec.user ||
    variables.requestedBy == oldObject.metadata.?annotations[?'vdi.kasm.io/requested-by'].orValue('')
  message: the front door may set the annotation vdi.kasm.io/requested-by to spec.user only
- expression: >-
    request.operation != 'UPDATE' ||
    object.metadata.?finalizers.orValue([]) == oldObject.metadata.?finalizers.orValue([])
  message: the front door may not change a session's metadata.finalizers; let the session's owner do it
- expression: >-
    request.operation != 'UPDATE' ||
    object.metadata.?ownerReferences.orValue([]) == oldObject.metadata.?ownerReferences.orValue([])
  message: the front door may not change a session's metadata.ownerReferences; let the session's owner do it
{{- if include "vdi-operator.access.logsIn" . }}
- expression: variables.newly.size() == 0 || variables.requestedBy == object.spec.user
  messageExpression: >-
    'the front door may change ' + variables.newly[0] + ' only for the person in spec.user, whom the annotation vdi.kasm.io/requested-by must name'
{{- else }}
- expression: variables.newly.size() == 0
  messageExpression: >-
    'the front door may not change ' + variables.newly[0] + {{ printf " in access mode %s; let the session\\'s owner do it" .Values.access.mode | squote }}
{{- end }}
- expression: >-
    request.operation != 'UPDATE' ||
    object.spec.?persistence.?size.orValue('') == oldObject.spec.?persistence.?size.orValue('') ||
    has(object.spec.persistence.size) && has(oldObject.spec.persistence.size) &&
    quantity(object.spec.persistence.size).isGreaterThan(quantity(oldObject.spec.persistence.size))
  message: the front door may change spec.persistence.size to a larger one only
- expression: >-
    request.operation != 'UPDATE' ||
    !has(oldObject.spec.keepAliveUntil) ||
    has(object.spec.keepAliveUntil) && timestamp(object.spec.keepAliveUntil) >= timestamp(oldObject.spec.keepAliveUntil)
  message: the front door may move spec.keepAliveUntil to a later time only
- expression: >-
    request.operation != 'UPDATE' ||
    object.spec.?groups.orValue([]) == oldObject.spec.?groups.orValue([]) ||
    object.spec.?runPolicy.orValue('') == 'Running' && oldObject.?status.?podName.orValue('') == '' ||
    object.spec.?runPolicy.orValue('') == 'Running' && oldObject.spec.?runPolicy.orValue('') == 'Suspended'
  message: the front door may change spec.groups only where it asks for a desktop that does not run; else let the session's owner do it
{{- end -}}
