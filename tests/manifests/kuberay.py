"""The parts of KubeRay's ``ray.io/v1`` that our files use, with the rules that its operator (1.6) checks."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

PodTemplate = dict[str, Any]
"""Checked with Kubernetes' own schema, elsewhere."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=47)]
Parameters = dict[str, str]
"""Options of ``ray start`` without their dashes; every value is text."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Metadata(_Strict):
    name: Name
    namespace: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class AuthOptions(_Strict):
    mode: Literal["disabled", "token"] = "token"
    secretName: str | None = None


class AutoscalerOptions(_Strict):
    version: Literal["v1", "v2"] | None = None
    idleTimeoutSeconds: Annotated[int, Field(ge=0)] | None = None
    upscalingMode: Literal["Default", "Aggressive", "Conservative"] | None = None
    resources: dict[str, dict[str, str]] = {}
    securityContext: dict[str, Any] = {}


class HeadGroup(_Strict):
    serviceType: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    rayStartParams: Parameters
    template: PodTemplate


class WorkerGroup(_Strict):
    groupName: str
    replicas: Annotated[int, Field(ge=0)] = 0
    minReplicas: Annotated[int, Field(ge=0)]
    maxReplicas: Annotated[int, Field(ge=0)]
    rayStartParams: Parameters
    template: PodTemplate

    @model_validator(mode="after")
    def _ordered(self) -> "WorkerGroup":
        if not self.minReplicas <= self.replicas <= self.maxReplicas:
            raise ValueError("replicas are not between minReplicas and maxReplicas")
        return self


class ClusterSpec(_Strict):
    rayVersion: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
    authOptions: AuthOptions
    enableInTreeAutoscaling: bool = False
    autoscalerOptions: AutoscalerOptions | None = None
    headGroupSpec: HeadGroup
    workerGroupSpecs: list[WorkerGroup] = []

    @model_validator(mode="after")
    def _operator_accepts(self) -> "ClusterSpec":
        if self.authOptions.mode == "token" and tuple(map(int, self.rayVersion.split("."))) < (2, 52, 0):
            raise ValueError("token authentication needs Ray 2.52")
        for template in self.templates():
            policy = template["spec"].get("restartPolicy", "Never")
            if self.enableInTreeAutoscaling and policy != "Never":
                raise ValueError(f"restartPolicy {policy} with autoscaler v2: must be Never")
        return self

    def templates(self) -> list[PodTemplate]:
        """The pod templates of the head and of each group of workers."""
        return [self.headGroupSpec.template, *(group.template for group in self.workerGroupSpecs)]


class RayCluster(_Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayCluster"]
    metadata: Metadata
    spec: ClusterSpec


class JobSpec(_Strict):
    entrypoint: str
    submissionMode: Literal["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"] = "K8sJobMode"
    shutdownAfterJobFinishes: bool = False
    ttlSecondsAfterFinished: Annotated[int, Field(ge=0)] = 0
    backoffLimit: Annotated[int, Field(ge=0)] = 0
    submitterPodTemplate: PodTemplate | None = None
    rayClusterSpec: ClusterSpec

    @model_validator(mode="after")
    def _operator_accepts(self) -> "JobSpec":
        if self.ttlSecondsAfterFinished and not self.shutdownAfterJobFinishes:
            raise ValueError("ttlSecondsAfterFinished needs shutdownAfterJobFinishes")
        if self.submissionMode == "SidecarMode" and self.submitterPodTemplate:
            raise ValueError("SidecarMode takes no submitterPodTemplate")
        return self


class RayJob(_Strict):
    apiVersion: Literal["ray.io/v1"]
    kind: Literal["RayJob"]
    metadata: Metadata
    spec: JobSpec


KINDS: dict[str, type[RayCluster | RayJob]] = {"RayCluster": RayCluster, "RayJob": RayJob}
