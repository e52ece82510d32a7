"""The KFP face of ``notify-failure``."""

from kfp import dsl

from kfp_lifecycle.components.shared.image import MONITOR_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=MONITOR_IMAGE, install_kfp_package=False)
def notify_failure(
    status: dsl.PipelineTaskFinalStatus,
    pipeline_name: str,
    model_name: str = "",
    slack: str = "",
    webhook: str = "",
    webhook_token: str = "",
    email_to: list[str] = [],
    email_from: str = "",
    smtp: str = "",
    smtp_security: str = "starttls",
    smtp_user: str = "",
    smtp_password: str = "",
    ui_host: str = "",
    run_id: str = "",
) -> str:
    """Tells people and programs that a run has failed: the exit handler of a pipeline.

    It does nothing where the run has succeeded. A message that cannot be sent is a warning in the log.

    Args:
        status: How the run has ended, which Kubeflow fills in.
        pipeline_name: The pipeline.
        model_name: The model that it is about.
        slack: Where the URL of a webhook is that understands Slack's: env:NAME or file:/path. Never the URL
            itself, which is a secret; empty tells nobody there.
        webhook: Likewise of a webhook that takes any JSON.
        webhook_token: Where the bearer token for it is: env:NAME or file:/path; empty sends none.
        email_to: Addresses to write to.
        email_from: Sender's address; empty is smtp_user, else the first of email_to.
        smtp: Mail server as host or host:port.
        smtp_security: starttls, tls or none.
        smtp_user: Who logs in to the mail server; empty does not.
        smtp_password: Where the password is: env:NAME or file:/path.
        ui_host: Address of Kubeflow's user interface, for a link to the run; empty gives none.
        run_id: The run that this is part of.

    Returns:
        What could not be sent and why, one sentence a line; empty where everything was.
    """
    from kfp_lifecycle.components.notify_failure.step import notify_failure_step

    return notify_failure_step(
        status=status,
        pipeline_name=pipeline_name,
        model_name=model_name,
        slack=slack,
        webhook=webhook,
        webhook_token=webhook_token,
        email_to=email_to,
        email_from=email_from,
        smtp=smtp,
        smtp_security=smtp_security,
        smtp_user=smtp_user,
        smtp_password=smtp_password,
        ui_host=ui_host,
        run_id=run_id,
    )
