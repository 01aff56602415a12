{{/* Two values that say different things of one matter, with the names of both. */}}

{{- define "vdi-operator.disagree" -}}
{{- $global := .Values.global | default dict -}}
{{- $own := .Values.sessions.domain -}}
{{- if and $own $global.domain (ne $own $global.domain) -}}
{{- fail (printf "%s is %q, but global.domain is %q: leave one of them out" (include "vdi-operator.valueName" (dict "root" . "name" "sessions.domain")) $own $global.domain) -}}
{{- end -}}
{{- if and (not .Values.leaderElection.enabled) .Values.strategy (ne "Recreate" (.Values.strategy.type | default "")) -}}
{{- fail (printf "%s asks for a rolling update, but leaderElection.enabled is off, so two operators would work at once: leave the strategy out, or switch leader election on" (include "vdi-operator.valueName" (dict "root" . "name" "strategy"))) -}}
{{- end -}}
{{- include "vdi-operator.disagree.scaling" . -}}
{{- include "vdi-operator.disagree.arguments" (dict "root" . "name" "extraArgs" "extra" .Values.extraArgs "ours" (include "vdi-operator.args" . | fromYamlArray)) -}}
{{- include "vdi-operator.disagree.arguments" (dict "root" . "name" "frontDoor.extraArgs" "extra" .Values.frontDoor.extraArgs "ours" (include "vdi-operator.frontDoor.args" . | fromYamlArray)) -}}
{{- if not (include "vdi-operator.makesForCluster" .) }}{{ include "vdi-operator.disagree.jobs" . }}{{ end -}}
{{- end -}}

{{/* The later of two flags would count, whatever the values say: dict root name extra ours. */}}
{{- define "vdi-operator.disagree.arguments" -}}
{{- $ours := list -}}
{{- range .ours }}{{ $ours = append $ours (regexFind "^--?[^=]+" . | trimAll "-") }}{{ end -}}
{{- range $i, $argument := .extra | default list -}}
{{- if has (regexFind "^--?[^=]+" $argument | trimAll "-") $ours -}}
{{- fail (printf "%s[%d] is %q, a flag that the chart sets already: set the value that it comes from, or leave it out" (include "vdi-operator.valueName" (dict "root" $.root "name" $.name)) $i $argument) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Jobs that need rights in other namespaces, or in the whole cluster. */}}
{{- define "vdi-operator.disagree.jobs" -}}
{{- $on := dict "crds.upgradeJob.enabled" .Values.crds.upgradeJob.enabled "upgradeCheck.enabled" (.Values.upgradeCheck | default dict).enabled
  "uninstall.job.enabled" .Values.uninstall.job.enabled "sessions.proxy.labelJob.enabled" (.Values.sessions.proxy.labelJob | default dict).enabled
  "hooks.check" (and (include "vdi-operator.hook.areOn" .) (ne "false" (toString .Values.hooks.check)))
  "templates" (not (empty .Values.templates)) -}}
{{- range $name, $set := $on -}}
{{- if $set -}}
{{- fail (printf "%s is set, but clusterObjects is Leave: its Job needs rights that an installer of one namespace cannot give; leave it out, as values/namespaced.yaml does" (include "vdi-operator.valueName" (dict "root" $ "name" $name))) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "vdi-operator.disagree.scaling" -}}
{{- $scaling := .Values.frontDoor.autoscaling | default dict -}}
{{- if $scaling.enabled -}}
{{- if lt (int $scaling.maxReplicas) (int $scaling.minReplicas) -}}
{{- fail (printf "%s is %d, but frontDoor.autoscaling.minReplicas is %d: make it as great" (include "vdi-operator.valueName" (dict "root" . "name" "frontDoor.autoscaling.maxReplicas")) (int $scaling.maxReplicas) (int $scaling.minReplicas)) -}}
{{- end -}}
{{- if not (dig "requests" "cpu" "" (.Values.frontDoor.resources | default dict)) -}}
{{- fail (printf "%s is on, but frontDoor.resources.requests.cpu is not set: the autoscaler reckons in shares of it, so set it, e.g. 100m" (include "vdi-operator.valueName" (dict "root" . "name" "frontDoor.autoscaling.enabled"))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
