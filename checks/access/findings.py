def findings(a):
    return []
