from .analysis.counts import (
    read_counts as read_counts,
)
from .api import (
    Run as Run,
    arun as arun,
    assert_pass_rate as assert_pass_rate,
    compare as compare,
    cost as cost,
    coverage as coverage,
    export as export,
    family as family,
    fit as fit,
    forecast as forecast,
    import_samples as import_samples,
    open_run as open_run,
    plan as plan,
    report as report,
    resume as resume,
    run as run,
    sample as sample,
    score as score,
    select as select,
    solve as solve,
    verifier_noise as verifier_noise,
    verify as verify,
)
from .errors import (
    TooFewSamples as TooFewSamples,
    VervetError as VervetError,
)
from .estimate.coverage import (
    pass_at_k as pass_at_k,
)
from .records import (
    Counts as Counts,
    Curve as Curve,
    Outcome as Outcome,
    Problem as Problem,
    Sample as Sample,
    Verdict as Verdict,
)
from .version import (
    __version__ as __version__,
)
