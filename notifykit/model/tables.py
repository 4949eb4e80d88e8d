"""The tables as Core names them: what statements are built from."""

from __future__ import annotations

from notifykit.model import metadata

content = metadata.tables["notifykit_content"]
delivery_attempt = metadata.tables["notifykit_delivery_attempt"]
event = metadata.tables["notifykit_event"]
job = metadata.tables["notifykit_job"]
message = metadata.tables["notifykit_message"]
preference = metadata.tables["notifykit_preference"]
run = metadata.tables["notifykit_run"]
subscriber = metadata.tables["notifykit_subscriber"]
subscriber_channel = metadata.tables["notifykit_subscriber_channel"]
tenant = metadata.tables["notifykit_tenant"]
topic = metadata.tables["notifykit_topic"]
topic_member = metadata.tables["notifykit_topic_member"]
workflow = metadata.tables["notifykit_workflow"]
workflow_version = metadata.tables["notifykit_workflow_version"]
